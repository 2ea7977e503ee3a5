//! Requests that fail, and what the report says of them.

use super::fake::EMPTY_TARGET;
use super::{kinds, request, run};
use crate::{FailedRequest, Request, RequestError, Sense, Workload};

#[test]
fn sense_data_come_back_in_place() {
    let check = |sense: [u8; 4]| {
        let [status, key, code, qualifier] = sense;
        Request::without_data(0, &[0x02, status, key, code, qualifier, 0])
    };
    for kind in kinds() {
        // So few tasks that each fetches sense data again.
        let requests = (0..200_u8).map(|index| match index % 5 {
            0 => check([0, 3, 0x11, index]),
            1 => check([0, 0xe, 0xff, 0xff]),
            // REQUEST SENSE fails, and it says nothing.
            2 => check([0x08, 3, 0x11, 0]),
            3 => check([0; 4]),
            _ => request(0),
        });
        let (report, _) = run(kind, &Workload::new(requests.collect(), 3));
        assert_eq!((report.failure, report.errors), (None, 160), "{kind}");
        let failed: Vec<_> = (0..200_u8)
            .filter_map(|index| {
                let error = match index % 5 {
                    0 => RequestError::Check(Sense::new(3, 0x11, index)),
                    1 => RequestError::Check(Sense::new(0xe, 0xff, 0xff)),
                    2 | 3 => RequestError::Status(0x02),
                    _ => return None,
                };
                let index = index.into();
                Some(FailedRequest::new(index, error))
            })
            .collect();
        assert_eq!(report.failed, failed, "{kind}");
    }
}

#[test]
fn a_run_says_in_one_line_what_failed() {
    for kind in kinds() {
        let requests = vec![
            request(0x08),
            request(0),
            Request::test_unit_ready(EMPTY_TARGET),
        ];
        let (report, _) = run(kind, &Workload::new(requests, 2));
        let error = report.outcome().unwrap_err().to_string();
        assert_eq!(
            error,
            "2 of 3 requests failed: 1 with BUSY, 1 with no target"
        );
        let (report, _) = run(kind, &Workload::new(vec![request(0)], 1));
        assert_eq!(report.outcome(), Ok(()));
    }
}
