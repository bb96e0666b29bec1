"""The kinds of predictors, one file each."""
