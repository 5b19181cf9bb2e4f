"""The forms of files of readings: the content of one file into the columns of a table."""
