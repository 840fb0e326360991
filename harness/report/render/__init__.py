"""A document as Markdown, HTML or LaTeX; each renderer makes text harmless in its own language."""
