"""Reports: a page, tables and figures, made from the files of finished runs."""
