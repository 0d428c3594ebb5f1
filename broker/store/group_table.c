/* group_table.c */
