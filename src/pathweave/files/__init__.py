"""Files that come from outside or go there: models (.pw), pipelines (JSON), arrays and images."""
