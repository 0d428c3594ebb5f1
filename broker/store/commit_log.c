/* commit_log.c */
