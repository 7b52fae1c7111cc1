"""An app for one test only: takes the fencing out of a running DES, to prove that the tests would notice."""
