import sys; sys.path.insert(0,"/work/main/tests")
import psycopg, time
from databases import conninfo, new_role, postgres_admin
from engines import opened, ask, POLICY
import recovery_engine
def test_x(postgres_url):
    with opened(postgres_url, POLICY, clock=None) as e:
        for n in range(8): e.request(ask(f"a-{n}"))
        with psycopg.connect(conninfo(postgres_url)) as c:
            c.execute("SELECT * FROM recovery_stream FOR UPDATE")
            t=time.time()
            try: print(e.request(ask("b")))
            except Exception as x: print("err", repr(x), time.time()-t)
            c.rollback()
        for n in range(3):
            try: print(e.request(ask(f"c-{n}")).outcome)
            except Exception as x: print("err", repr(x))
def test_y(postgres_url):
    with opened(postgres_url, POLICY, clock=None) as e: e.request(ask("a", customer="K-1"))
    role = new_role(postgres_url, "auditor")
    with postgres_admin(postgres_url) as admin: admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    url=postgres_url.replace("postgres@",f"{role}@")
    with recovery_engine.RecoveryEngine.open(url, environment={}) as e:
        for _ in range(2):
            t=time.time()
            try: e.forget("K-1","x")
            except Exception as x: print("err", repr(x), time.time()-t)
