//! Every fault, by the payee that calls for it: what the client sees, and what the ledger holds.

use super::*;

const SECOND: &str = "00000000-0000-4000-8000-000000000002";

fn suffix(fault: Fault) -> String {
    format!("254700{}", fault.suffix().unwrap())
}

/// A batch of a payee that is plain and one that calls for a fault.
fn pair(fault: Fault) -> Value {
    json!({"transactions": [payment("R1", "254700000011", "2"), payment("R2", &suffix(fault), "3")]})
}

async fn start(kind: Kind) -> (Sandbox, Client) {
    let faults = Faults { payee_suffixes: true, ..Faults::none() };
    let sandbox = Sandbox::start(Settings { kind, faults, ..settings() }).await.unwrap();
    let client = Client::of(&sandbox);
    (sandbox, client)
}

async fn admin(sandbox: &Sandbox, client: &Client, call: &str, body: &Value) -> Answer {
    let url = format!("{}/admin/{call}", sandbox.operator_admin_url());
    send(client.http.post(url).json(body)).await.unwrap()
}

/// Posts a pair under the usual correlation id and waits for the operator.
async fn post(sandbox: &Sandbox, client: &Client, fault: Fault) -> Result<Answer, Failure> {
    let answer = client.post("/batchtransactions", Some(ID), &pair(fault)).await;
    sandbox.quiet().await;
    answer
}

/// The batch that the correlation id leads to.
async fn found(client: &Client) -> (String, Value) {
    let (_, _, link) = client.get(&format!("/responses/{ID}")).await;
    let link = link["link"].as_str().unwrap().to_owned();
    let shown = client.get(&link).await.2;
    (link, shown)
}

fn sums(sandbox: &Sandbox) -> (usize, i64, usize) {
    let summary = sandbox.ledger_summary();
    (summary.credits, summary.sum_minor, summary.repeated_references)
}

#[tokio::test]
async fn replies_that_do_not_arrive_or_cannot_be_read_come_after_the_payment() {
    for fault in [Fault::LoseReply, Fault::TruncateReply, Fault::GarbleReply, Fault::ErrorAfter] {
        let (sandbox, client) = start(Kind::Remembers).await;
        let answer = post(&sandbox, &client, fault).await;
        match fault {
            Fault::LoseReply => assert!(matches!(answer, Err(Failure::InDoubt(_))), "{answer:?}"),
            Fault::TruncateReply => {
                assert!(matches!(&answer, Err(Failure::InDoubt(reason)) if reason.code == "answer_cut"), "{answer:?}");
            }
            Fault::GarbleReply => {
                let answer = answer.unwrap();
                assert_eq!((answer.status.as_u16(), answer.body.starts_with(b"<html>")), (200, true));
            }
            _ => assert_eq!(answer.unwrap().status, 500),
        }
        assert_eq!(found(&client).await.1["completedCount"], 2);
        assert_eq!(post(&sandbox, &client, fault).await.unwrap().status, 400, "{fault:?}");
        assert_eq!(sums(&sandbox), (2, 500, 0), "{fault:?}");
    }
}

#[tokio::test]
async fn answers_to_questions_are_harmed_once_each() {
    let (sandbox, client) = start(Kind::Remembers).await;
    client.post("/transactions", Some(ID), &payment("R1", "254700000011", "2")).await.unwrap();
    sandbox.quiet().await;
    sandbox.set_faults(Faults { truncate_reply_per_mille: 1000, garble_reply_per_mille: 1000, ..Faults::none() });
    let url = format!("{}/responses/{ID}", client.base);
    assert!(ask(client.http.get(&url)).await.is_err());
    assert!(ask(client.http.get(&url)).await.unwrap().body.starts_with(b"<html>"));
    assert_eq!(body(&ask(client.http.get(&url)).await.unwrap())["link"], "/transactions/OP000000000001");
}

#[tokio::test]
async fn a_late_reply_comes_when_the_client_has_gone() {
    let (sandbox, mut client) = start(Kind::Remembers).await;
    client.http = http::client(Duration::from_millis(300)).unwrap();
    let lost = post(&sandbox, &client, Fault::LateReply).await;
    assert!(matches!(&lost, Err(Failure::InDoubt(reason)) if reason.code == "timed_out"), "{lost:?}");
    assert_eq!((sums(&sandbox), &found(&client).await.1["completedCount"]), ((2, 500, 0), &json!(2)));
}

#[tokio::test]
async fn a_lost_request_did_nothing_and_a_late_one_arrives_after_all() {
    let (sandbox, client) = start(Kind::Remembers).await;
    assert!(post(&sandbox, &client, Fault::LoseRequest).await.is_err());
    assert_eq!((sums(&sandbox), client.get(&format!("/responses/{ID}")).await.0), ((0, 0, 0), 404));
    assert_eq!(post(&sandbox, &client, Fault::LoseRequest).await.unwrap().status, 202);
    assert_eq!(sums(&sandbox), (2, 500, 0));

    for (kind, credits) in [(Kind::Remembers, 2), (Kind::NoDedupe, 4)] {
        let (sandbox, client) = start(kind).await;
        let late = client.post("/batchtransactions", Some(ID), &pair(Fault::LateRequest)).await;
        assert!(matches!(late, Err(Failure::InDoubt(_))), "{late:?}");
        assert_eq!(client.get(&format!("/responses/{ID}")).await.0, 404, "nothing yet");
        // The second copy overtakes the first.
        let second = client.post("/batchtransactions", Some(ID), &pair(Fault::LateRequest)).await.unwrap();
        assert_eq!(second.status, 202);
        sandbox.heal();
        sandbox.quiet().await;
        assert_eq!(sums(&sandbox).0, credits, "{kind:?}");
    }
}

#[tokio::test]
async fn a_request_that_arrives_twice_gets_the_second_answer() {
    for (kind, status, wanted) in [
        (Kind::Remembers, 400, (2, 500, 0)),
        (Kind::ForgetsRejections, 400, (2, 500, 0)),
        (Kind::NoDedupe, 202, (4, 1_000, 2)),
        (Kind::StatementOnly, 202, (4, 1_000, 2)),
    ] {
        let (sandbox, client) = start(kind).await;
        let answer = post(&sandbox, &client, Fault::DoubleRequest).await.unwrap();
        assert_eq!((answer.status.as_u16(), sums(&sandbox)), (status, wanted), "{kind:?}");
    }
}

#[tokio::test]
async fn silence_and_a_partial_batch_last_until_the_operator_is_healed() {
    let (sandbox, client) = start(Kind::Remembers).await;
    assert_eq!(post(&sandbox, &client, Fault::Silence).await.unwrap().status, 202);
    assert_eq!((&found(&client).await.1["batchStatus"], sums(&sandbox).0), (&json!("approved"), 0));
    let partial = client.post("/batchtransactions", Some(SECOND), &pair(Fault::Partial)).await.unwrap();
    let name = body(&partial)["objectReference"].as_str().unwrap().to_owned();
    let single = payment("R3", &suffix(Fault::Partial), "4");
    let single = body(&client.post("/transactions", None, &single).await.unwrap())["objectReference"].clone();
    sandbox.quiet().await;
    let shown = client.get(&format!("/batchtransactions/{name}")).await.2;
    let counts = ["parsingSuccessCount", "completedCount", "rejectionCount"].map(|name| shown[name].as_u64().unwrap());
    assert_eq!((&shown["batchStatus"], counts), (&json!("completed"), [2, 1, 0]));
    let status = async || {
        let path = format!("/transactions/{}", single.as_str().unwrap());
        client.get(&path).await.2["transactionStatus"].clone()
    };
    assert_eq!((status().await, sums(&sandbox).1), (json!("pending"), 200));
    for _ in 0..2 {
        assert_eq!(admin(&sandbox, &client, "heal", &json!({})).await.status, 204);
        sandbox.quiet().await;
        assert_eq!(found(&client).await.1["completedCount"], 2);
        assert_eq!(client.get(&format!("/batchtransactions/{name}")).await.2["completedCount"], 2);
        assert_eq!((status().await, sums(&sandbox).1), (json!("completed"), 1_400));
    }
}

#[tokio::test]
async fn what_is_held_is_still_held_after_a_restart() {
    let folder = folder("held");
    let kept = || Settings { folder: Some(folder.clone()), ..settings() };
    let sandbox = Sandbox::start(kept()).await.unwrap();
    post(&sandbox, &Client::of(&sandbox), Fault::Partial).await.unwrap();
    sandbox.shutdown().await;
    for (healed, counted, wanted) in [(false, 1, (1, 200, 0)), (true, 2, (2, 500, 0)), (true, 2, (2, 500, 0))] {
        let sandbox = Sandbox::start(kept()).await.unwrap();
        if healed {
            sandbox.heal();
        }
        sandbox.quiet().await;
        assert_eq!(sums(&sandbox), wanted);
        assert_eq!(found(&Client::of(&sandbox)).await.1["completedCount"], counted);
        sandbox.shutdown().await;
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// A killed operator leaves its file as it is at that moment.
#[tokio::test]
async fn what_was_answered_or_shown_is_in_the_file_already() {
    let (living, killed) = (folder("living"), folder("killed"));
    let kept = |folder: &PathBuf| Settings { folder: Some(folder.clone()), kind: Kind::NoDedupe, ..settings() };
    let sandbox = Sandbox::start(Settings { delay_millis: 200, ..kept(&living) }).await.unwrap();
    let client = Client::of(&sandbox);
    let batch = json!({"transactions": [payment("R1", "254700000011", "2"), payment("R2", "254700990001", "3")]});
    let kill = || std::fs::copy(living.join("ledger.jsonl"), killed.join("ledger.jsonl")).unwrap();
    assert_eq!(client.post("/batchtransactions", Some(ID), &batch).await.unwrap().status, 202);
    kill();
    // The second start finds what the first has carried out.
    for _ in 0..2 {
        let after = Sandbox::start(kept(&killed)).await.unwrap();
        let known = found(&Client::of(&after)).await.1;
        assert_eq!(known["parsingSuccessCount"], 2);
        after.quiet().await;
        assert_eq!(
            (found(&Client::of(&after)).await.1["completedCount"].as_u64(), sums(&after)),
            (Some(1), (1, 200, 0))
        );
        after.shutdown().await;
    }
    while found(&client).await.1["batchStatus"] != "completed" {
        tokio::task::yield_now().await;
    }
    sandbox.give_back(&["R1"]).await.unwrap();
    kill();
    let after = Sandbox::start(kept(&killed)).await.unwrap();
    assert_eq!((sums(&after), after.ledger_summary().returns), ((1, 0, 0), 1));
    for path in [living, killed] {
        std::fs::remove_dir_all(path).unwrap();
    }
}

#[tokio::test]
async fn statuses_flap_once_and_tell_the_truth_again() {
    let (sandbox, client) = start(Kind::Remembers).await;
    let words = async |path: &str, field: &str| {
        let mut words = Vec::new();
        for _ in 0..3 {
            words.push(client.get(path).await.2[field].as_str().unwrap().to_owned());
        }
        words
    };
    for (fault, single, batch) in [
        (Fault::FlapFailed, ["failed", "completed", "completed"], ["failed", "completed", "completed"]),
        (Fault::FlapPending, ["completed", "pending", "completed"], ["completed", "approved", "completed"]),
    ] {
        let payee = suffix(fault);
        let name = body(&client.post("/transactions", None, &payment(&payee, &payee, "2")).await.unwrap());
        let items = json!({"transactions": [payment(&format!("B{payee}"), &payee, "2")]});
        let of_batch = body(&client.post("/batchtransactions", None, &items).await.unwrap());
        sandbox.quiet().await;
        let path = format!("/transactions/{}", name["objectReference"].as_str().unwrap());
        assert_eq!(words(&path, "transactionStatus").await, single);
        let path = format!("/requeststates/{}", name["serverCorrelationId"].as_str().unwrap());
        assert_eq!(words(&path, "status").await, single);
        let path = format!("/batchtransactions/{}", of_batch["objectReference"].as_str().unwrap());
        assert_eq!(words(&path, "batchStatus").await, batch);
    }
    assert_eq!(sums(&sandbox), (4, 800, 0));
}

#[tokio::test]
async fn a_wrong_sum_is_shown_and_the_right_one_is_paid() {
    let (sandbox, client) = start(Kind::Remembers).await;
    post(&sandbox, &client, Fault::WrongAmount).await.unwrap();
    let (link, _) = found(&client).await;
    let (_, _, paid) = client.get(&format!("{link}/completions")).await;
    assert_eq!((paid[0].get("amount"), &paid[1]["amount"]), (None, &json!("3.01")));
    let (_, _, shown) = client.get(paid[1]["link"].as_str().unwrap()).await;
    assert_eq!((&shown["amount"], sums(&sandbox).1), (&json!("3.01"), 500));
    let (_, _, entries) = client.get("/accounts/organisationid/PROGRAMME/statemententries").await;
    assert_eq!(entries[0]["amount"], "3", "the statement does not lie");
}

#[tokio::test]
async fn what_comes_back_is_nothing_in_the_ledger_and_reversed_in_every_view() {
    let folder = folder("returned");
    let faults = Faults { payee_suffixes: true, ..Faults::none() };
    let kept = || Settings { folder: Some(folder.clone()), faults: faults.clone(), ..settings() };
    let sandbox = Sandbox::start(kept()).await.unwrap();
    post(&sandbox, &Client::of(&sandbox), Fault::Return).await.unwrap();
    sandbox.shutdown().await;
    let sandbox = Sandbox::start(kept()).await.unwrap();
    let client = Client::of(&sandbox);
    let (link, shown) = found(&client).await;
    assert_eq!((&shown["completedCount"], &shown["rejectionCount"]), (&json!(2), &json!(0)));
    let (_, _, paid) = client.get(&format!("{link}/completions")).await;
    assert_eq!((paid[0].get("transactionStatus"), &paid[1]["transactionStatus"]), (None, &json!("reversed")));
    assert_eq!(client.get(paid[1]["link"].as_str().unwrap()).await.2["transactionStatus"], "reversed");
    let summary = sandbox.ledger_summary();
    assert_eq!((summary.credits, summary.returns, summary.sum_minor), (2, 1, 200));
    assert_eq!((summary.references, summary.paid_references, summary.repeated_references), (2, 1, 0));
    assert_eq!(sandbox.net()["R2"], Net::default());
    let returned = admin(&sandbox, &client, "return", &json!({"references": ["R1", "R2", "R9"]})).await;
    assert_eq!((body(&returned), sandbox.ledger_summary().sum_minor), (json!({"returned": 1}), 0));
    let net = ask(client.http.get(format!("{}/admin/ledger/net", sandbox.operator_admin_url()))).await.unwrap();
    assert_eq!(std::str::from_utf8(&net.body).unwrap().lines().count(), 2);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_short_float_rejects_by_payee_and_by_call() {
    let (sandbox, client) = start(Kind::ForgetsRejections).await;
    assert_eq!(admin(&sandbox, &client, "float", &json!({"float_minor": 100})).await.status, 204);
    post(&sandbox, &client, Fault::OutOfFunds).await.unwrap();
    let (link, _) = found(&client).await;
    let (_, _, rejected) = client.get(&format!("{link}/rejections")).await;
    assert_eq!(
        [0, 1].map(|n| rejected[n]["rejectionReason"].clone()),
        [json!("Insufficient funds"), json!("Insufficient funds")]
    );
    sandbox.set_float(500);
    sandbox.heal();
    post(&sandbox, &client, Fault::OutOfFunds).await.unwrap();
    assert_eq!((sums(&sandbox), sandbox.ledger_summary().float_minor), ((2, 500, 0), 0));
}

#[tokio::test]
async fn a_callback_can_say_the_opposite_and_a_return_is_told_too() {
    let taken: Arc<Mutex<Vec<Value>>> = Arc::default();
    let keep = taken.clone();
    let door = put(move |axum::Json(body): axum::Json<Value>| async move {
        keep.lock().unwrap().push(body);
        StatusCode::NO_CONTENT
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/door", listener.local_addr().unwrap());
    let door = tokio::spawn(axum::serve(listener, Router::new().route("/door", door)).into_future());
    let (sandbox, client) = start(Kind::Remembers).await;
    let told = async |path: &str, body: &Value| {
        let request = client.http.post(format!("{}{path}", client.base)).json(body);
        send(request.header("X-Callback-URL", &url)).await.unwrap();
        sandbox.quiet().await;
        std::mem::take(&mut *taken.lock().unwrap())
    };
    let payee = suffix(Fault::ContradictCallback);
    assert_eq!(told("/transactions", &payment("R1", &payee, "2")).await[0]["transactionStatus"], "failed");
    let batch = told("/batchtransactions", &pair(Fault::ContradictCallback)).await;
    assert_eq!((&batch[0]["completedCount"], &batch[0]["rejectionCount"]), (&json!(0), &json!(2)));
    let back = told("/batchtransactions", &pair(Fault::Return)).await;
    let words = [&back[0]["batchStatus"], &back[1]["transactionStatus"], &back[1]["amount"]];
    assert_eq!(words, [&json!("completed"), &json!("reversed"), &json!("3")]);
    sandbox.set_faults(Faults { reject_per_mille: 1000, contradict_callback_per_mille: 1000, ..Faults::none() });
    let lie = told("/transactions", &payment("R5", "254700000015", "2")).await;
    assert_eq!((&lie[0]["transactionStatus"], sandbox.net().contains_key("R5")), (&json!("completed"), false));
    sandbox.set_kind(Kind::StatementOnly);
    sandbox.set_faults(Faults::none());
    assert_eq!(told("/transactions", &payment("R6", "254700000016", "2")).await, Vec::<Value>::new());
    door.abort();
}
