/* consume_status.c */
