"""Night limits of graduated driver licensing in the United States, as policies to start from.

Each names the law it follows and the page of the state itself on which its hours and ages were read. They help to
choose a window and are no legal advice: the exemptions of each state (work, school, emergencies, supervision) can't be
told from telematics.
"""

from collections.abc import Sequence

from schemas.curfew import CurfewPolicyRequest, Day
from schemas.curfew_questions import CurfewTemplate, TemplateSource

NOTE = (
    "Starting points, no legal advice: laws change, and their exemptions (work, school, emergencies, a supervising "
    "adult) are not judged. Compare with the source, and with the IIHS table of graduated licensing laws "
    "(https://www.iihs.org/topics/teenagers/graduated-licensing-laws-table)."
)

_EASTERN = ("America/New_York",)
_WEEK = tuple(Day)
_BEFORE_WORKDAYS = (Day.SUNDAY, Day.MONDAY, Day.TUESDAY, Day.WEDNESDAY, Day.THURSDAY)
_BEFORE_FREE_DAYS = (Day.FRIDAY, Day.SATURDAY)


def _nightly(start: str, end: str) -> list[tuple[tuple[Day, ...], str, str]]:
    return [(_WEEK, start, end)]


def _template(
    state: str,
    name: str,
    license_: str,
    *,
    applies_to: str,
    windows: Sequence[tuple[tuple[Day, ...], str, str]],
    source: TemplateSource,
    timezones: tuple[str, ...] = _EASTERN,
) -> CurfewTemplate:
    (days, start, end), *others = windows
    several = [{"days": d, "start": s, "end": e} for d, s, e in windows]
    policy = CurfewPolicyRequest.model_validate(
        {
            "enabled": True,
            "timezone": timezones[0],
            "days": _WEEK if others else days,
            "timeWindow": None if others else {"start": start, "end": end},
            "timeWindows": several if others else None,
        }
    )
    return CurfewTemplate(
        template_id=f"us-{state.lower()}",
        state=state,
        name=name,
        license=license_,
        applies_to=applies_to,
        timezones=timezones,
        policy=policy,
        source=source,
    )


TEMPLATES: tuple[CurfewTemplate, ...] = (
    _template(
        "CA",
        "California",
        "Provisional driver license",
        applies_to="Drivers of 16 and 17, for the first 12 months of the license",
        windows=_nightly("23:00", "05:00"),
        source=TemplateSource(
            citation="California Vehicle Code § 12814.6",
            title="Questions and Answers Regarding Provisional Driver License Restrictions (California DMV)",
            url="https://www.dmv.ca.gov/portal/dmv/detail/teenweb/dl_btn2/q_and_a",
        ),
        timezones=("America/Los_Angeles",),
    ),
    _template(
        "DE",
        "Delaware",
        "Level one learner's permit",
        applies_to="Drivers under 18, from the seventh month of the permit, when they may drive alone",
        windows=_nightly("22:00", "06:00"),
        source=TemplateSource(
            citation="21 Del. C. § 2710",
            title="Additional Information for those Applying for a Graduated Driver License or Permit (Delaware DMV)",
            url="https://www.dmv.de.gov/services/driver_services/drivers_license/dr_lic_gdl_instruction.shtml",
        ),
    ),
    _template(
        "IL",
        "Illinois",
        "Driver's license under 18",
        applies_to="Drivers under 18; an hour later on Friday and Saturday nights",
        windows=[(_BEFORE_WORKDAYS, "22:00", "06:00"), (_BEFORE_FREE_DAYS, "23:00", "06:00")],
        source=TemplateSource(
            citation="625 ILCS 5/6-110 (a-1)",
            title="Public Act 104-0041, which gives the section (Illinois General Assembly)",
            url="https://my.ilga.gov/Legislation/PublicActs/View/104-0041",
        ),
        timezones=("America/Chicago",),
    ),
    _template(
        "ME",
        "Maine",
        "Intermediate license",
        applies_to="Drivers licensed under 18, for 270 days from issuance",
        windows=_nightly("00:00", "05:00"),
        source=TemplateSource(
            citation="29-A M.R.S. § 1311",
            title="§1311. Intermediate license (Maine Legislature)",
            url="http://www.mainelegislature.org/legis/statutes/29-a/title29-Asec1311.html",
        ),
    ),
    _template(
        "MI",
        "Michigan",
        "Level 2 graduated license",
        applies_to="Drivers of 16 and 17 at level 2",
        windows=_nightly("22:00", "05:00"),
        source=TemplateSource(
            citation="MCL 257.310e",
            title="Level 2 Graduated Driver License Restrictions, Public Act 124 of 2011 (Michigan Legislature)",
            url="https://capitol.legislature.mi.gov/documents/2011-2012/billanalysis/House/htm/2011-HLA-4533-4CE815F6.htm",
        ),
        timezones=("America/Detroit", "America/Menominee"),
    ),
    _template(
        "NC",
        "North Carolina",
        "Level 2 limited provisional license",
        applies_to="Drivers of 16 and 17 at level 2",
        windows=_nightly("21:00", "05:00"),
        source=TemplateSource(
            citation="N.C.G.S. § 20-11 (e)",
            title="Session Law 2011-385, which gives the level 2 restrictions (North Carolina General Assembly)",
            url="https://ncleg.gov/EnactedLegislation/SessionLaws/HTML/2011-2012/SL2011-385.html",
        ),
    ),
    _template(
        "SD",
        "South Dakota",
        "Restricted minor's permit",
        applies_to="Drivers of 14 to 17 with the permit; the section gives its hours in standard time",
        windows=_nightly("22:00", "06:00"),
        source=TemplateSource(
            citation="SDCL 32-12-12",
            title="32-12-12 Restricted minor's permit, Restrictions on operation (South Dakota Legislature)",
            url="http://sdlegislature.gov/statutes/DisplayStatute.aspx?Statute=32-12-12&Type=Statute",
        ),
        timezones=("America/Chicago", "America/Denver"),
    ),
    _template(
        "UT",
        "Utah",
        "Driver license under 17",
        applies_to="Drivers under 17",
        windows=_nightly("00:00", "05:00"),
        source=TemplateSource(
            citation="Utah Code § 41-8-2",
            title="Senate Bill 118 of 2006, enrolled, which gives the section (Utah State Legislature)",
            url="https://le.utah.gov/~2006/bills/sbillenr/SB0118.htm",
        ),
        timezones=("America/Denver",),
    ),
    _template(
        "VA",
        "Virginia",
        "Driver's license under 18",
        applies_to="Drivers under 18",
        windows=_nightly("00:00", "04:00"),
        source=TemplateSource(
            citation="Code of Virginia § 46.2-334.01",
            title="Curfew Restrictions (Virginia Department of Motor Vehicles)",
            url="https://dmv.virginia.gov/licenses-ids/learners/restrictions",
        ),
    ),
    _template(
        "WA",
        "Washington",
        "Intermediate driver's license",
        applies_to="Drivers of 16 and 17",
        windows=_nightly("01:00", "05:00"),
        source=TemplateSource(
            citation="RCW 46.20.075",
            title="Driving Laws (Washington State Office of the Attorney General)",
            url="https://www.atg.wa.gov/driving-laws",
        ),
        timezones=("America/Los_Angeles",),
    ),
)
