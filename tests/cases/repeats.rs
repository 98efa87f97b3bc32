//! Cases 41 to 44 and 51: one entitlement in several rows, payrolls and spellings.

use super::*;

/// Amounts and accounts, and what is refused of them by line.
type Rows = &'static [(&'static str, &'static str)];
type Codes = &'static [(u64, &'static str)];

fn codes(wanted: &[(u64, &str)]) -> Vec<(u64, String)> {
    wanted.iter().map(|(line, code)| (*line, (*code).to_owned())).collect()
}

on_both! {
    /// If all rows agree the first stands, if any two differ none does, in whatever order they come.
    async fn cases_41_and_42_rows_under_one_entitlement(database) {
        let world = World::new(database).await;
        const REPEATED: &str = "entitlement_repeated";
        const CONFLICT: &str = "entitlement_conflict";
        let orders: [(Rows, Codes); 6] = [
            (&[("1.00", A), ("1.00", A), ("1.00", A)], &[(4, REPEATED), (5, REPEATED)]),
            (&[("1.00", A), ("2.00", A)], &[(3, CONFLICT), (4, CONFLICT)]),
            (&[("1.00", A), ("1.00", B)], &[(3, CONFLICT), (4, CONFLICT)]),
            (&[("1.00", A), ("1.00", A), ("2.00", A)], &[(3, CONFLICT), (4, CONFLICT), (5, CONFLICT)]),
            (&[("1.00", A), ("2.00", A), ("1.00", A)], &[(3, CONFLICT), (4, CONFLICT), (5, CONFLICT)]),
            (&[("1.00", A), ("2.00", A), ("2.00", A)], &[(3, CONFLICT), (4, CONFLICT), (5, CONFLICT)]),
        ];
        for (number, (rows, wanted)) in orders.into_iter().enumerate() {
            let (good, key) = (format!("good{number}"), format!("E{number}"));
            let file: Vec<(&str, &str, &str)> = [(good.as_str(), "7.00", B)].into_iter().chain(rows.iter().map(|(amount, account)| (key.as_str(), *amount, *account))).collect();
            let payroll = world.take_in(&file).await;
            assert_eq!(world.rejects(payroll.id).await, codes(wanted), "{rows:?}");
            let stands = rows.len() - wanted.len();
            assert_eq!(payroll.accepted, Total { payments: 1 + stands as i64, sum_minor: 700 + 100 * stands as i64 }, "{rows:?}");
            world.verified().await;
        }
    }
}

on_both! {
    /// The same where the rows are far apart in a long file.
    async fn cases_41_and_42_rows_far_apart(database) {
        let world = World::new(database).await;
        let row = |key: &str, amount: &str| (key.to_owned(), amount.to_owned(), A.to_owned());
        // Line 2 agrees with a later row; lines 3 to 5 do not; line 6 is contradicted by rows that contradict each other.
        let mut all: Vec<(String, String, String)> = ["agrees", "differs", "differs-twice", "returns", "pair"].map(|key| row(key, "1.00")).into();
        all.extend(rows(MANY));
        let tail = all.len() as u64 + 2;
        all.extend([row("agrees", "1.00"), row("differs", "2.00"), row("differs-twice", "2.00"), row("differs-twice", "2.00"), row("returns", "2.00"), row("pair", "2.00"), row("pair", "3.00")]);
        all.extend((0..MANY).map(|n| (format!("T{n}"), "1.00".to_owned(), B.to_owned())));
        let end = all.len() as u64 + 2;
        all.push(row("returns", "1.00"));
        let payroll = world.take_in(&borrowed(&all)).await;
        let (repeated, conflict) = ("entitlement_repeated", "entitlement_conflict");
        let mut wanted = vec![(3, conflict), (4, conflict), (5, conflict), (6, conflict), (tail, repeated)];
        wanted.extend([1, 2, 4, 5, 6].map(|more| (tail + more, conflict)));
        wanted.push((end, conflict));
        let mut found = world.rejects(payroll.id).await;
        // Of two that agree with each other and differ from what stood before, the second says either.
        let either = found.iter().position(|(line, _)| *line == tail + 3).map(|at| found.remove(at));
        assert!(either.is_some_and(|(_, code)| code == conflict || code == repeated));
        assert_eq!(found, codes(&wanted));
        let all = totals(&borrowed(&all));
        assert_eq!(payroll.file, all);
        assert_eq!(payroll.accepted.payments, all.payments - 12);
        assert_eq!(payroll.accepted.and(payroll.refused), Some(all));
        world.verified().await;
    }
}

on_both! {
    /// What is remembered of contradictions is bounded: a file that is full of them is refused.
    async fn case_42_contradictions_without_end(database) {
        let world = World::new(database).await;
        let mut file = csv(&[]);
        for n in 0..100_001 {
            file.push_str(&format!("C{n},B,Name,{A},1.00,KES\nC{n},B,Name,{A},2.00,KES\n"));
        }
        let declared = Total { payments: 200_002, sum_minor: 100_001 * 300 };
        let payroll = world.take_in_text(&file, declared).await;
        left_nothing(&world, &payroll, "conflicts_too_many").await;
        let last = file.trim_end().rfind('\n').unwrap();
        let last = file[..last].rfind('\n').unwrap();
        let fewer = world.take_in_text(&format!("{}\nE1,B,Name,{A},1.00,KES\n", &file[..last]), Total { payments: 200_001, sum_minor: 100_000 * 300 + 100 }).await;
        assert_eq!((fewer.state, fewer.accepted), (PayrollState::Draft, Total { payments: 1, sum_minor: 100 }));
        world.verified().await;
    }
}

on_both! {
    async fn case_43_an_entitlement_of_an_earlier_payroll(database) {
        let world = World::new(database).await;
        let first = world.take_in(&[("E1", "10.00", A)]).await;
        // Taken in is enough; it need not be paid yet.
        for amount in ["11.00", "10.00"] {
            let again = world.take_in(&[("E1", amount, A), ("E2", "0.00", B)]).await;
            left_nothing(&world, &again, "nothing_payable").await;
            assert_eq!(world.rejects(again.id).await, codes(&[(2, "entitlement_known"), (3, "amount_not_positive")]));
        }
        world.release(first.id).await;
        world.complete(first.id).await;
        let again = world.take_in(&[("E1", "10.00", A), ("E3", "1.00", B)]).await;
        assert_eq!(again.accepted, Total { payments: 1, sum_minor: 100 });
        assert_eq!(world.rejects(again.id).await, codes(&[(2, "entitlement_known")]));
        assert_eq!(world.credited(), (1, 1_000));
        world.verified().await;
    }
}

on_both! {
    /// Several payrolls with overlapping entitlements at once: each entitlement is accepted exactly once in all.
    async fn case_44_entitlements_in_concurrent_payrolls(database) {
        let world = World::new(database).await;
        let all = rows(400);
        let parts: Vec<Vec<(String, String, String)>> = (0..4).map(|part| all.iter().skip(part * 60).take(220).cloned().collect()).collect();
        let requests: Vec<IntakeRequest> = parts.iter().map(|part| world.request(csv(&borrowed(part)).as_bytes(), totals(&borrowed(part)))).collect();
        let outcomes = futures_util::future::join_all(requests.iter().map(|request| world.engine.take_in(&world.maker, request))).await;
        let mut keys = Vec::new();
        for payroll in outcomes.into_iter().map(Result::unwrap) {
            let rows = world.engine.disbursements(&world.maker.scope, payroll.id, &[], (0, 1_000)).await.unwrap();
            assert_eq!(rows.len() as i64, payroll.accepted.payments);
            keys.extend(rows.into_iter().map(|row| row.entitlement));
        }
        keys.sort();
        assert_eq!(keys, all.into_iter().map(|(key, ..)| key).collect::<Vec<_>>());
        world.verified().await;
    }
}

on_both! {
    /// An id has one spelling, because others are refused; a name may be spelt as it likes and pays once.
    async fn case_51_composed_and_decomposed_are_one(database) {
        let world = World::new(database).await;
        let file = format!(
            "{}E\u{e9}2,B,Name,{A},1.00,KES\nEe\u{301}2,B,Name,{A},1.00,KES\nE3,B,An\u{303}ez,{A},1.00,KES\nE3,B,A\u{f1}ez,{A},1.00,KES\n E3 ,B,Anez,{A},1.00,KES\n",
            csv(&[("E1", "1.00", A)])
        );
        let payroll = world.take_in_text(&file, Total { payments: 6, sum_minor: 600 }).await;
        let wanted = [(3, "id_mixed_scripts"), (4, "id_mixed_scripts"), (6, "entitlement_repeated"), (7, "entitlement_repeated")];
        assert_eq!(world.rejects(payroll.id).await, codes(&wanted));
        assert_eq!(payroll.accepted, Total { payments: 2, sum_minor: 200 });
        world.verified().await;
    }
}
