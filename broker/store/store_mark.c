/* store_mark.c */
