/* send_back.c */
