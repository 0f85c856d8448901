# The Makefile holds the recipes; these are for those who type just.
build:
    make build

run:
    make run

test:
    make test
