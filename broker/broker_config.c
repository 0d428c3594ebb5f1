/* broker_config.c */
