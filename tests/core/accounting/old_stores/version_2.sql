BEGIN TRANSACTION;
CREATE TABLE budgets (
    name TEXT PRIMARY KEY, amount TEXT NOT NULL, per TEXT, app TEXT, user TEXT,
    tag TEXT, tag_value TEXT, seen REAL NOT NULL
);
INSERT INTO "budgets" VALUES('(''day'', ''website'', None, None)','5','day','website',NULL,NULL,NULL,1800000000.0);
CREATE TABLE calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL, app TEXT NOT NULL, user TEXT, model TEXT NOT NULL, served TEXT,
    endpoint TEXT NOT NULL, status TEXT NOT NULL, http_status INTEGER,
    retries INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER, cache_write_tokens INTEGER, reasoning_tokens INTEGER,
    audio_tokens INTEGER, cost INTEGER, cost_source TEXT,
    seconds REAL NOT NULL, first_token_seconds REAL, request_id TEXT, framework TEXT, tags TEXT
);
INSERT INTO "calls" VALUES(1,1799740800.0,'website','u1','m','m-1','/chat/completions','ok',NULL,1,100,7,5,NULL,NULL,NULL,4100000000,'gateway',2.54615985476764894457e-01,8.35498878129449562557e-01,'r0','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(2,1799739000.0,'поиск','u1','m','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1100000000,'catalog',1.82040520092251378869e+00,NULL,'r1','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(3,1799737200.0,'поиск','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1500000000,'estimate',2.41100832945880449997e+00,8.60244102737453220086e-01,'r2','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(4,1799735400.0,'поиск','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1500000000,'estimate',2.70362339249084104864e+00,8.71032968367970394929e-01,'r3','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(5,1799733600.0,'поиск','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,4100000000,'gateway',2.72325033053789100634e+00,NULL,'r4','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(6,1799731800.0,'website','u1','m','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1100000000,'catalog',6.91808023091958546046e-01,NULL,'r5','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(7,1799730000.0,'website','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1500000000,'estimate',2.99605070457765609859e+00,NULL,'r6','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(8,1799728200.0,'поиск','u1','n','m-1','/chat/completions','LunosServerError',500,0,100,7,5,NULL,NULL,NULL,1500000000,'estimate',2.20320507568193324487e+00,0.906593649897561,'r7','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(9,1799726400.0,'поиск','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,4100000000,'gateway',2.94292971921637969145e+00,NULL,'r8','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(10,1799724600.0,'поиск','u1','n','m-1','/chat/completions','ok',NULL,1,100,7,5,NULL,NULL,NULL,1100000000,'catalog',1.96473293446799468497e+00,2.49901767745717706681e-01,'r9','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(11,1799722800.0,'поиск','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1500000000,'estimate',1.98505680001193840489e+00,4.54688786713038251008e-01,'r10','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(12,1799721000.0,'поиск','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1500000000,'estimate',1.45982566458475515602e+00,2.21811010991010859605e-01,'r11','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(13,1799719200.0,'website','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,4100000000,'gateway',2.31895217101375372692e+00,4.79766147654973829084e-01,'r12','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(14,1799717400.0,'поиск','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1100000000,'catalog',2.19278962629627738323e+00,4.88906454383519650797e-01,'r13','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(15,1799715600.0,'website','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1500000000,'estimate',2.17784786243189465437e+00,NULL,'r14','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(16,1799713800.0,'website','u1','m','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1500000000,'estimate',1.72324487536199200121e+00,NULL,'r15','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(17,1799712000.0,'website','u1','m','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,4100000000,'gateway',2.56182902155461622584e+00,NULL,'r16','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(18,1799710200.0,'website','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1100000000,'catalog',2.69390361868503136477e+00,NULL,'r17','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(19,1799708400.0,'поиск','u1','n','m-1','/chat/completions','ok',NULL,1,100,7,5,NULL,NULL,NULL,1500000000,'estimate',5.15642976377197137516e-01,NULL,'r18','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(20,1799706600.0,'website','u1','m','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1500000000,'estimate',7.6034144480703114155e-02,NULL,'r19','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(21,1799704800.0,'поиск','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,4100000000,'gateway',3.83361402452462307621e-01,NULL,'r20','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(22,1799703000.0,'website','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1100000000,'catalog',1.76837472714098531412e+00,NULL,'r21','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(23,1799701200.0,'website','u1','m','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1500000000,'estimate',1.25883298561200174248e-02,NULL,'r22','langchain','{"feature": "search"}');
INSERT INTO "calls" VALUES(24,1799699400.0,'поиск','u1','n','m-1','/chat/completions','ok',NULL,0,100,7,5,NULL,NULL,NULL,1500000000,'estimate',1.46628306874955116612e+00,NULL,'r23','langchain','{"feature": "search"}');
CREATE TABLE reservations (
    id TEXT PRIMARY KEY, at REAL NOT NULL, expires REAL NOT NULL,
    app TEXT NOT NULL, user TEXT, tags TEXT, model TEXT NOT NULL,
    cost INTEGER NOT NULL, tokens INTEGER NOT NULL, certain INTEGER NOT NULL
);
CREATE TABLE summed (id INTEGER NOT NULL);
INSERT INTO "summed" VALUES(24);
CREATE TABLE sums (
    span INTEGER NOT NULL, begin INTEGER NOT NULL,
    app TEXT NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL,
    calls INTEGER NOT NULL, errors INTEGER NOT NULL, retries INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
    cost_high INTEGER, cost_low INTEGER, estimated_high INTEGER,
    seconds BLOB NOT NULL, first_token_seconds BLOB NOT NULL,
    PRIMARY KEY (span, begin, app, model, endpoint)
) WITHOUT ROWID;
INSERT INTO "sums" VALUES(3600,1799697600,'поиск','n','/chat/completions',1,0,0,100,7,5,0,1500,0,1500,X'6A0101000000',X'');
INSERT INTO "sums" VALUES(3600,1799701200,'website','m','/chat/completions',1,0,0,100,7,5,0,1500,0,1500,X'F00001000000',X'');
INSERT INTO "sums" VALUES(3600,1799701200,'website','n','/chat/completions',1,0,0,100,7,5,0,1100,0,NULL,X'6E0101000000',X'');
INSERT INTO "sums" VALUES(3600,1799704800,'website','m','/chat/completions',1,0,0,100,7,5,0,1500,0,1500,X'1E0101000000',X'');
INSERT INTO "sums" VALUES(3600,1799704800,'поиск','n','/chat/completions',1,0,0,100,7,5,0,4100,0,NULL,X'470101000000',X'');
INSERT INTO "sums" VALUES(3600,1799708400,'website','n','/chat/completions',1,0,0,100,7,5,0,1100,0,NULL,X'790101000000',X'');
INSERT INTO "sums" VALUES(3600,1799708400,'поиск','n','/chat/completions',1,0,1,100,7,5,0,1500,0,1500,X'4F0101000000',X'');
INSERT INTO "sums" VALUES(3600,1799712000,'website','m','/chat/completions',2,0,0,200,14,10,0,5600,0,1500,X'6E0101000000780101000000',X'');
INSERT INTO "sums" VALUES(3600,1799715600,'website','n','/chat/completions',1,0,0,100,7,5,0,1500,0,1500,X'740101000000',X'');
INSERT INTO "sums" VALUES(3600,1799715600,'поиск','n','/chat/completions',1,0,0,100,7,5,0,1100,0,NULL,X'740101000000',X'4E0101000000');
INSERT INTO "sums" VALUES(3600,1799719200,'website','n','/chat/completions',1,0,0,100,7,5,0,4100,0,NULL,X'750101000000',X'4D0101000000');
INSERT INTO "sums" VALUES(3600,1799719200,'поиск','n','/chat/completions',1,0,0,100,7,5,0,1500,0,1500,X'690101000000',X'390101000000');
INSERT INTO "sums" VALUES(3600,1799722800,'поиск','n','/chat/completions',2,0,1,200,14,10,0,2600,0,1500,X'710102000000',X'3C01010000004C0101000000');
INSERT INTO "sums" VALUES(3600,1799726400,'поиск','n','/chat/completions',2,1,0,200,14,10,0,5600,0,1500,X'7401010000007B0101000000',X'5D0101000000');
INSERT INTO "sums" VALUES(3600,1799730000,'website','m','/chat/completions',1,0,0,100,7,5,0,1100,0,NULL,X'560101000000',X'');
INSERT INTO "sums" VALUES(3600,1799730000,'website','n','/chat/completions',1,0,0,100,7,5,0,1500,0,1500,X'7C0101000000',X'');
INSERT INTO "sums" VALUES(3600,1799733600,'поиск','n','/chat/completions',2,0,0,200,14,10,0,5600,0,1500,X'790102000000',X'5C0101000000');
INSERT INTO "sums" VALUES(3600,1799737200,'поиск','m','/chat/completions',1,0,0,100,7,5,0,1100,0,NULL,X'6F0101000000',X'');
INSERT INTO "sums" VALUES(3600,1799737200,'поиск','n','/chat/completions',1,0,0,100,7,5,0,1500,0,1500,X'760101000000',X'5C0101000000');
INSERT INTO "sums" VALUES(3600,1799740800,'website','m','/chat/completions',1,0,1,100,7,5,0,4100,0,NULL,X'3D0101000000',X'5B0101000000');
INSERT INTO "sums" VALUES(86400,1799625600,'website','m','/chat/completions',2,0,0,200,14,10,0,3000,0,3000,X'F000010000001E0101000000',X'');
INSERT INTO "sums" VALUES(86400,1799625600,'website','n','/chat/completions',2,0,0,200,14,10,0,2200,0,NULL,X'6E0101000000790101000000',X'');
INSERT INTO "sums" VALUES(86400,1799625600,'поиск','n','/chat/completions',3,0,1,300,21,15,0,7100,0,3000,X'4701010000004F01010000006A0101000000',X'');
INSERT INTO "sums" VALUES(86400,1799712000,'website','m','/chat/completions',4,0,1,400,28,20,0,10800,0,1500,X'3D01010000005601010000006E0101000000780101000000',X'5B0101000000');
INSERT INTO "sums" VALUES(86400,1799712000,'website','n','/chat/completions',3,0,0,300,21,15,0,7100,0,3000,X'7401010000007501010000007C0101000000',X'4D0101000000');
INSERT INTO "sums" VALUES(86400,1799712000,'поиск','m','/chat/completions',1,0,0,100,7,5,0,1100,0,NULL,X'6F0101000000',X'');
INSERT INTO "sums" VALUES(86400,1799712000,'поиск','n','/chat/completions',9,1,1,900,63,45,0,17900,0,7500,X'6901010000007101020000007401020000007601010000007901020000007B0101000000',X'3901010000003C01010000004C01010000004E01010000005C01020000005D0101000000');
CREATE INDEX calls_at ON calls (at);
COMMIT;
PRAGMA application_id = 1280659023;
PRAGMA user_version = 2;
