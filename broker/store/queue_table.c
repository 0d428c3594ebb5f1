/* queue_table.c */
