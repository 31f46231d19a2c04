//! How much is kept, and for how long.

use super::*;

#[tokio::test]
async fn a_full_spool_refuses_until_records_are_delivered() {
    let spool = on_disk(&Disk::default(), small());
    let batch = || {
        (0..100)
            .map(|i| refused(format!("{i:0>1000}")))
            .collect::<Vec<_>>()
    };
    let mut accepted = 0;
    let full = loop {
        match spool.append(batch()).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full { .. }), "{full:?}");
    assert!(accepted > 20, "{accepted}");
    let gauges = spool.gauges();
    assert!(
        gauges.kept_bytes <= gauges.limit_bytes + 200_000,
        "{gauges:?}"
    );

    let epoch = spool.mark().epoch;
    spool.delivered(Mark {
        epoch,
        position: gauges.next,
    });
    eventually("room after delivery", || spool.admits().is_ok()).await;
    for _ in 0..accepted {
        let receipt = spool.append(batch()).await;
        let position = spool.gauges().next;
        spool.delivered(Mark { epoch, position });
        assert!(receipt.is_ok(), "delivered blocks give way: {receipt:?}");
        assert!(spool.gauges().kept_bytes <= gauges.limit_bytes);
    }
}

#[tokio::test]
async fn delivered_records_go_when_their_time_is_over_and_others_stay() {
    let spool = on_disk(
        &Disk::default(),
        SpoolLimits {
            retention_hours: 0,
            ..small()
        },
    );
    spool
        .append((0..500).map(|i| refused(format!("{i:0>400}"))).collect())
        .await
        .unwrap();
    let kept = spool.gauges().kept_bytes;
    spool.delivered(Mark {
        epoch: 0,
        position: 401,
    });
    eventually("old blocks are deleted", || {
        spool.gauges().kept_bytes < kept
    })
    .await;
    let left = waiting(&spool);
    assert_eq!(left.len(), 101);
    assert_eq!(left[0].1, 401);
}

#[tokio::test]
async fn what_was_delivered_can_be_sent_again_and_older_marks_do_not_undo_it() {
    let spool = on_disk(&Disk::default(), small());
    spool
        .append(vec![refused("a"), refused("b"), refused("c")])
        .await
        .unwrap();
    let all = spool.gauges().next;
    spool.delivered(Mark {
        epoch: 0,
        position: all,
    });
    assert_eq!(
        spool.resend(i64::MAX).await.unwrap().records,
        0,
        "nothing was delivered in the future"
    );

    let resent = spool.resend(0).await.unwrap();
    assert_eq!((resent.from, resent.records), (1, 4));
    assert_eq!(spool.gauges().depth, 4);
    spool.delivered(Mark {
        epoch: 0,
        position: all,
    });
    assert_eq!(
        spool.gauges().depth,
        4,
        "a report of the time before the resend"
    );
    spool.delivered(Mark {
        epoch: spool.mark().epoch,
        position: all,
    });
    assert_eq!(spool.gauges().depth, 0);
}
