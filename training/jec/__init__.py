"""Jet energy corrections: CMS' text files, the standard correction to beat, and how to compare."""
