/* metadata_json.c */
