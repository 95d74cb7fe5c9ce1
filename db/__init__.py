"""The database: migrations, named statements, one typed function per statement. The only importer of psycopg."""
