-- Over millions of sights, grouping by a hash and sorting afterwards takes twice the processor time of one sort for both.
ALTER FUNCTION trips_between SET enable_hashagg = off;
