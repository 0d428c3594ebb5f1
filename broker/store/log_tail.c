/* log_tail.c */
