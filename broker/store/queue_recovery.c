/* queue_recovery.c */
