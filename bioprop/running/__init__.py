"""One run or many, from a resolved configuration to what stands in the workdir."""
