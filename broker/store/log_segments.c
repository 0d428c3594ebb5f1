/* log_segments.c */
