-- What the agent of format 1 left behind: one install told, one not, one under way.
BEGIN TRANSACTION;
CREATE TABLE install (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    deployment_id TEXT NOT NULL UNIQUE,
    app TEXT NOT NULL,
    bundle_id TEXT NOT NULL,
    version TEXT NOT NULL,
    digest TEXT NOT NULL,
    archive_sha256 TEXT NOT NULL,
    archive_bytes INTEGER NOT NULL,
    previous TEXT,
    phase TEXT NOT NULL,
    tries INTEGER NOT NULL,
    error TEXT,
    metrics TEXT NOT NULL,
    final INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL DEFAULT 0
) STRICT
;
INSERT INTO "install" VALUES(1,'told','vad','b1','1.0.0','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',10,NULL,'succeeded',0,NULL,'{"speech":0.9}',1,1);
INSERT INTO "install" VALUES(2,'untold','vad','b1','2.0.0','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',10,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','rolled_back',0,'probe failed: speech 0 (needs >=0.8)','{"speech":0.0}',1,0);
INSERT INTO "install" VALUES(3,'under way','vad','b1','3.0.0','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',10,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','staging',2,NULL,'{}',0,0);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('install',3);
COMMIT;
PRAGMA user_version = 1;
