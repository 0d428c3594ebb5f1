/* reader_pool.c */
