"""The pipe-delimited files of ShARe/CLEF eHealth."""
