"""One module for each verb, imported only when that verb is used."""
