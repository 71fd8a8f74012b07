"""Readers and writers of scene folders: one module for each program's layout."""
