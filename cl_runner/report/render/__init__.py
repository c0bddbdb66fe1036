"""How a report looks: tables, figures, the page."""
