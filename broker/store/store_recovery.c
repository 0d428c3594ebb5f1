/* store_recovery.c */
