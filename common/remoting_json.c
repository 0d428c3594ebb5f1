/* remoting_json.c */
