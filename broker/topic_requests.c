/* topic_requests.c */
