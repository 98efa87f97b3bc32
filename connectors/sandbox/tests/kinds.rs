//! The four kinds of operator: what a second copy comes to, and what can be asked.

use super::*;

async fn start(kind: Kind) -> (Sandbox, Client) {
    let sandbox = Sandbox::start(Settings { kind, ..settings() }).await.unwrap();
    let client = Client::of(&sandbox);
    (sandbox, client)
}

/// Sends a batch under the usual correlation id, waits for its end, and gives its id or the error code.
async fn send_batch(sandbox: &Sandbox, client: &Client, items: &[Value]) -> Result<String, String> {
    let answer = client.post("/batchtransactions", Some(ID), &json!({"transactions": items})).await.unwrap();
    sandbox.quiet().await;
    let body = body(&answer);
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    if answer.status == 202 { Ok(text("objectReference")) } else { Err(text("errorCode")) }
}

async fn counts(client: &Client, id: &str) -> [u64; 3] {
    let (_, _, shown) = client.get(&format!("/batchtransactions/{id}")).await;
    assert_eq!(shown["batchStatus"], "completed");
    ["parsingSuccessCount", "completedCount", "rejectionCount"].map(|name| shown[name].as_u64().unwrap())
}

fn net(sandbox: &Sandbox, reference: &str) -> i64 {
    sandbox.net().get(reference).map_or(0, |net| net.credits)
}

#[tokio::test]
async fn who_remembers_executes_no_copy_and_keeps_a_rejection() {
    let (sandbox, client) = start(Kind::Remembers).await;
    let items = [payment("R1", "254700000011", "2"), payment("R2", "254700990017", "3")];
    let id = send_batch(&sandbox, &client, &items).await.unwrap();
    sandbox.heal();
    for _ in 0..2 {
        assert_eq!(send_batch(&sandbox, &client, &items).await, Err("duplicateRequest".into()));
    }
    assert_eq!(counts(&client, &id).await, [2, 1, 1]);
    assert_eq!((net(&sandbox, "R1"), net(&sandbox, "R2"), sandbox.ledger_summary().sum_minor), (1, 0, 200));
}

#[tokio::test]
async fn who_forgets_rejections_pays_them_in_a_second_copy_and_nobody_twice() {
    let folder = folder("forgets");
    let kept = || Settings { kind: Kind::ForgetsRejections, folder: Some(folder.clone()), ..settings() };
    let sandbox = Sandbox::start(kept()).await.unwrap();
    let client = Client::of(&sandbox);
    let items =
        [payment("R1", "254700000011", "2"), payment("R2", "254700990017", "3"), payment("R3", "254700990001", "4")];
    let first = send_batch(&sandbox, &client, &items).await.unwrap();
    assert_eq!(counts(&client, &first).await, [3, 1, 2]);
    let second = send_batch(&sandbox, &client, &items).await.unwrap();
    sandbox.shutdown().await;

    let sandbox = Sandbox::start(kept()).await.unwrap();
    let client = Client::of(&sandbox);
    for id in [&first, &second] {
        assert_eq!(counts(&client, id).await, [3, 2, 1], "what was tried again is shown as it ended");
        let (_, _, rejected) = client.get(&format!("/batchtransactions/{id}/rejections")).await;
        assert_eq!(rejected[0]["requestingOrganisationTransactionReference"], "R3");
    }
    sandbox.heal();
    send_batch(&sandbox, &client, &items).await.unwrap();
    assert_eq!(counts(&client, &first).await, [3, 3, 0]);
    assert_eq!(send_batch(&sandbox, &client, &items).await, Err("duplicateRequest".into()));
    let summary = sandbox.ledger_summary();
    assert_eq!((summary.credits, summary.sum_minor, summary.repeated_references), (3, 900, 0));
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_single_payment_that_was_rejected_can_be_paid_by_who_forgets_it() {
    let (sandbox, client) = start(Kind::ForgetsRejections).await;
    let one = payment("R1", "254700990017", "2");
    let post = || client.post("/transactions", Some(ID), &one);
    let rejected = body(&post().await.unwrap())["objectReference"].clone();
    // While it is open it cannot be sent again.
    assert_eq!(post().await.unwrap().status, 400);
    sandbox.quiet().await;
    let paid = body(&post().await.unwrap())["objectReference"].clone();
    sandbox.quiet().await;
    assert_eq!(post().await.unwrap().status, 400);
    let status = async |name: &Value| {
        client.get(&format!("/transactions/{}", name.as_str().unwrap())).await.2["transactionStatus"].clone()
    };
    assert_eq!((status(&rejected).await, status(&paid).await), (json!("failed"), json!("completed")));
    let (_, _, link) = client.get(&format!("/responses/{ID}")).await;
    assert_eq!(link["link"], format!("/transactions/{}", paid.as_str().unwrap()));
    assert_eq!((net(&sandbox, "R1"), sandbox.ledger_summary().sum_minor), (1, 200));
}

#[tokio::test]
async fn who_does_not_deduplicate_pays_every_copy_and_shows_all_of_it() {
    let (sandbox, client) = start(Kind::NoDedupe).await;
    let items = [payment("R1", "254700000011", "2"), payment("R2", "254700990001", "3")];
    let first = send_batch(&sandbox, &client, &items).await.unwrap();
    let second = send_batch(&sandbox, &client, &items).await.unwrap();
    assert_ne!(first, second);
    for id in [&first, &second] {
        assert_eq!(counts(&client, id).await, [4, 2, 2]);
        let (_, headers, paid) = client.get(&format!("/batchtransactions/{id}/completions?limit=1&offset=1")).await;
        assert_eq!(headers["X-Records-Available-Count"], "2");
        assert_eq!(paid[0]["requestingOrganisationTransactionReference"], "R1");
    }
    assert_eq!((net(&sandbox, "R1"), sandbox.ledger_summary().repeated_references), (2, 1));

    // Of single payments a question by the correlation id leads to one that was paid, if one was.
    let single = "00000000-0000-4000-8000-000000000001";
    let once = payment("R3", "254700000013", "4");
    client.post("/transactions", Some(single), &once).await.unwrap();
    sandbox.quiet().await;
    sandbox.set_faults(Faults { reject_per_mille: 1000, ..Faults::none() });
    client.post("/transactions", Some(single), &once).await.unwrap();
    sandbox.quiet().await;
    let (_, _, link) = client.get(&format!("/responses/{single}")).await;
    let (_, _, shown) = client.get(link["link"].as_str().unwrap()).await;
    assert_eq!((&shown["transactionStatus"], net(&sandbox, "R3")), (&json!("completed"), 1));
}

#[tokio::test]
async fn who_keeps_only_a_statement_says_nothing_else() {
    let (sandbox, client) = start(Kind::StatementOnly).await;
    let mut items: Vec<Value> = (1..=5).map(|n| payment(&format!("R{n}"), &format!("25470000001{n}"), "2")).collect();
    for (n, item) in items.iter_mut().enumerate() {
        item["descriptionText"] = json!(format!("R{} March", n + 1));
    }
    let id = send_batch(&sandbox, &client, &items).await.unwrap();
    send_batch(&sandbox, &client, &items[..1]).await.unwrap();
    assert_eq!(net(&sandbox, "R1"), 2, "every copy is executed");
    let questions = ["", "/completions", "/rejections"].map(|list| format!("/batchtransactions/{id}{list}"));
    let others = [format!("/responses/{ID}"), "/transactions/OP000000000001".into(), "/requeststates/x".into()];
    for question in questions.iter().chain(&others) {
        let asked = ask(client.http.get(format!("{}{question}", client.base))).await;
        assert!(matches!(asked, Err(Failure::Unavailable { reason, .. }) if reason.code == "http_503"), "{question}");
    }
    assert_eq!(sandbox.give_back(&["R2"]).await.unwrap(), 1);
    assert_eq!(sandbox.give_back(&["R2"]).await.unwrap(), 0, "only once");
    let path = "/accounts/organisationid/PROGRAMME/statemententries";
    let (status, headers, page) = client.get(&format!("{path}?limit=2")).await;
    let counts = ["Available", "Returned"].map(|name| headers[&format!("X-Records-{name}-Count")].to_str().unwrap());
    assert_eq!((status, counts), (200, ["7", "2"]));
    assert_eq!((&page[0]["displayType"], &page[0]["descriptionText"]), (&json!("reversal"), &json!("R2 March")));
    assert_eq!(page[0]["creditParty"][0]["value"], "PROGRAMME");
    assert_eq!((&page[1]["displayType"], &page[1]["amount"]), (&json!("disbursement"), &json!("2")));
    assert!(page[0].get("requestingOrganisationTransactionReference").is_none(), "the schema has no such field");
    let (_, _, rest) = client.get(&format!("{path}?limit=50&offset=2")).await;
    let texts: Vec<_> = rest.as_array().unwrap().iter().map(|one| one["descriptionText"].as_str().unwrap()).collect();
    assert_eq!(texts, ["R5 March", "R4 March", "R3 March", "R2 March", "R1 March"]);
    for window in ["?fromDateTime=2999-01-01T00:00:00Z", "?toDateTime=1999-01-01T00:00:00Z"] {
        let (_, headers, none) = client.get(&format!("{path}{window}")).await;
        assert_eq!((&headers["X-Records-Available-Count"], none), (&"0".parse().unwrap(), json!([])));
    }
    assert_eq!(client.get(&format!("{path}?fromDateTime=yesterday")).await.0, 400);
}

#[tokio::test]
async fn a_key_that_is_forgotten_lets_a_copy_through() {
    let (sandbox, client) = start(Kind::Remembers).await;
    let items = [payment("R1", "254700000011", "2")];
    send_batch(&sandbox, &client, &items).await.unwrap();
    sandbox.set_faults(Faults { key_window_millis: 3_600_000, ..Faults::none() });
    assert!(send_batch(&sandbox, &client, &items).await.is_err());
    sandbox.set_faults(Faults { forget_key_per_mille: 1000, ..Faults::none() });
    send_batch(&sandbox, &client, &items).await.unwrap();
    assert_eq!(net(&sandbox, "R1"), 2);
    sandbox.set_faults(Faults { key_window_millis: 1, ..Faults::none() });
    while send_batch(&sandbox, &client, &items).await.is_err() {}
    assert_eq!(net(&sandbox, "R1"), 3);
}

#[tokio::test]
async fn the_kind_can_be_changed_by_a_call() {
    let (sandbox, client) = start(Kind::Remembers).await;
    let url = format!("{}/admin/kind", sandbox.operator_admin_url());
    for (name, kind) in Kind::NAMES {
        let set = send(client.http.post(&url).json(&json!({"kind": name}))).await.unwrap();
        let got = ask(client.http.get(&url)).await.unwrap();
        assert_eq!((set.status.as_u16(), body(&got)), (204, json!({"kind": name})));
        assert_eq!(Kind::parse(name), Some(kind));
    }
    let unknown = send(client.http.post(&url).json(&json!({"kind": "forgetful"}))).await.unwrap();
    assert_eq!(unknown.status, 422);
}
