"""ONNX operators, one file per family; a file's table OPERATORS is found by being here."""
