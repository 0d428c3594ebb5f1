/* topic_table.c */
