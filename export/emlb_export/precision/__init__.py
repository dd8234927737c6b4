"""int8 and fp16."""
