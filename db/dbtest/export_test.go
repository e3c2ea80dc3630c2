package dbtest

var Direct = direct
