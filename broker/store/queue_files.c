/* queue_files.c */
