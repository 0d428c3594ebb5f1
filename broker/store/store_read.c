/* store_read.c */
