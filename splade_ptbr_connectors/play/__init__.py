"""The local page of `splade-ptbr play`: search stores in a browser, and see what a query becomes and why each document matched."""
