"""What people look at: tables and figures, made from the files of finished runs."""
