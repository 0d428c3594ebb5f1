/* client_requests.c */
