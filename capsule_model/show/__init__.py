"""Show results side by side: in the terminal, as Markdown, as one HTML page."""
