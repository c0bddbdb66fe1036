"""What a report looks like: tables, figures, the page."""
