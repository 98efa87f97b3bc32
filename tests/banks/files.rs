//! Files that are hostile, broken or foreign: each is told once, none stops the others, and none moves a payment.

use paymaster::domain::disbursement::State;

use super::stage::{Stage, plain};
use crate::on_both;

fn camt(entries: &str) -> String {
    let balance = |code: &str, amount: &str| {
        format!(
            "<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy=\"KES\">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>\
             <Dt><Dt>2026-11-25</Dt></Dt></Bal>"
        )
    };
    format!(
        "<?xml version=\"1.0\"?><Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.02\"><BkToCstmrStmt><GrpHdr>\
         <MsgId>M</MsgId><CreDtTm>2026-11-25T18:00:00</CreDtTm></GrpHdr><Stmt><Id>HAND</Id><ElctrncSeqNb>1</ElctrncSeqNb>\
         <CreDtTm>2026-11-25T18:00:00</CreDtTm><Acct><Id><Othr><Id>0011223344</Id></Othr></Id></Acct>{}{}{entries}</Stmt>\
         </BkToCstmrStmt></Document>",
        balance("OPBD", "1000.00"),
        balance("CLBD", "899.99")
    )
}

fn entry(amount: &str, reference: &str, day: &str) -> String {
    format!(
        "<Ntry><Amt Ccy=\"KES\">{amount}</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>{day}</Dt></BookgDt>\
         <AcctSvcrRef>B1</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>ICDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn>\
         </BkTxCd><NtryDtls><TxDtls><Refs><EndToEndId>{reference}</EndToEndId></Refs></TxDtls></NtryDtls></Ntry>"
    )
}

/// The reference of a stage's first payment.
async fn first_reference(stage: &Stage, id: paymaster::domain::id::Id<paymaster::domain::id::Payroll>) -> String {
    let rows = stage.engine().disbursements(&stage.world.maker.scope, id, &[], (0, 10)).await.unwrap();
    let number = rows.iter().map(|row| row.shown.number).min().unwrap();
    stage.engine().reference(number).to_string()
}

on_both! {
    async fn hostile_and_broken_files_are_told_and_the_others_are_read(database) {
        let mut stage = Stage::new(database).await;
        let payroll = stage.released(&plain(2)).await;
        stage.send().await;
        stage.leave("a-xxe.xml", "<?xml version=\"1.0\"?><!DOCTYPE d [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><Document>&x;</Document>");
        stage.leave("b-cut.xml", &camt("<Ntry><Amt Ccy=\"KES\">1"));
        stage.leave("c-other.xml", "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08\"><FIToFICstmrCdtTrf/></Document>");
        stage.leave("d-words.txt", "Dear customer, your statement follows.");
        stage.day_ends().await;
        assert_eq!(stage.count(payroll.id, State::Settled).await, 2);
        assert_eq!(stage.exceptions().await, ["file_unreadable"; 4]);
        // They are not read again and again.
        stage.listen().await;
        assert_eq!(stage.exceptions().await.len(), 4);
        stage.books_agree(payroll.id).await;
    }
}

on_both! {
    async fn entries_that_do_not_come_to_the_closing_balance_move_nothing(database) {
        let stage = Stage::new(database).await;
        let payroll = stage.released(&plain(1)).await;
        stage.send().await;
        let reference = first_reference(&stage, payroll.id).await;
        stage.leave("s.xml", &camt(&entry("100.02", &reference, "2026-11-25")));
        stage.listen().await;
        assert_eq!(stage.exceptions().await, ["statement_differs"]);
        assert_eq!(stage.count(payroll.id, State::Accepted).await, 1);
        // The bank sends it once more, and right.
        stage.leave("t.xml", &camt(&entry("100.01", &reference, "2026-11-25")));
        stage.listen().await;
        assert_eq!(stage.count(payroll.id, State::Settled).await, 1);
        stage.world.verified().await;
    }
}

on_both! {
    async fn what_was_booked_before_we_sent_it_is_not_ours_to_settle(database) {
        let stage = Stage::new(database).await;
        let payroll = stage.released(&plain(1)).await;
        stage.send().await;
        let reference = first_reference(&stage, payroll.id).await;
        stage.leave("s.xml", &camt(&entry("100.01", &reference, "2026-11-20")));
        stage.listen().await;
        assert_eq!(stage.exceptions().await, ["booked_before_sent"]);
        assert_eq!(stage.count(payroll.id, State::Accepted).await, 1);
        stage.world.verified().await;
    }
}

on_both! {
    async fn a_status_for_another_file_or_with_other_totals_has_no_effect(database) {
        let stage = Stage::new(database).await;
        let payroll = stage.released(&plain(2)).await;
        stage.send().await;
        let batch = stage.engine().batches(&stage.world.maker.scope, payroll.id, 0, 10).await.unwrap().remove(0);
        let ours = stage.engine().reference(batch.id.number()).to_string();
        let status = |original: &str, count: u32, sum: &str| {
            format!(
                "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:pain.002.001.03\"><CstmrPmtStsRpt><GrpHdr><MsgId>S</MsgId>\
                 <CreDtTm>2026-11-25T09:00:00</CreDtTm></GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>{original}</OrgnlMsgId>\
                 <OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId><OrgnlNbOfTxs>{count}</OrgnlNbOfTxs><OrgnlCtrlSum>{sum}</OrgnlCtrlSum>\
                 <GrpSts>RJCT</GrpSts><StsRsnInf><Rsn><Cd>AM04</Cd></Rsn></StsRsnInf></OrgnlGrpInfAndSts></CstmrPmtStsRpt></Document>"
            )
        };
        stage.leave("a.xml", &status("SOMEBODYELSES", 2, "200.03"));
        stage.leave("b.xml", &status(&ours, 3, "200.03"));
        stage.leave("c.xml", &status(&ours, 2, "200.04"));
        stage.listen().await;
        assert_eq!(stage.count(payroll.id, State::Accepted).await, 2);
        assert_eq!(stage.exceptions().await, ["status_foreign", "status_totals_differ", "status_totals_differ"]);
        stage.leave("d.xml", &status(&ours, 2, "200.03"));
        stage.listen().await;
        assert_eq!(stage.count(payroll.id, State::Rejected).await, 2);
        stage.world.verified().await;
    }
}
