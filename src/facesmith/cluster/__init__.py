"""Detection in folders of millions of pictures on many machines, by Ray Data: results in Parquet, restartable."""
