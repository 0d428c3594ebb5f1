/* offset_table.c */
