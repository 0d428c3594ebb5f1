/* metadata_journal.c */
